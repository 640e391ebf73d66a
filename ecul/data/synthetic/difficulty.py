"""How hard the synthetic people are: every knob in one place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SyntheticDifficulty:
    """Knobs of the drawing. The defaults are calibrated; docs/datasets.md has the figures.

    Evidence that both modalities share:
        plain_share: share of people whose upper garment has no pattern, in [0, 1].
        pattern_contrast: least brightness difference of a pattern's two tones in each modality, in [0, 0.5].
        bag_share: share of people with a bag, in [0, 1].
        hat_share: share of people with a hat, in [0, 1].
    Nuisances of an image:
        scale_jitter: half range of the person's size, as a share of it.
        shift_jitter: half range of the person's place in the frame, as a share of the frame.
        pose_jitter: half range of arm and leg angles, in radians.
        lean_jitter: half range of the lean, as a sideways shift per height.
        narrowing: largest loss of width by turning away, as a share.
        mirror_share: share of images where the person is seen mirrored.
        occlusion_share: share of images with something in front.
        occlusion_size: largest share of the frame that it hides.
        pixel_noise: largest standard deviation of pixel noise of a visible camera, of 1 = white; infrared cameras
            have one and a half times as much.
    Nuisances of a camera:
        gain_range: half range of the logarithm of the brightness gain.
        tint_range: half range of the logarithm of each visible channel's gain.
        blur: largest blur, in [0, 1], of a 3x3 kernel.
        background_contrast: brightness range of the background's texture.
    """

    plain_share: float = 0.15
    pattern_contrast: float = 0.28
    bag_share: float = 0.6
    hat_share: float = 0.45
    scale_jitter: float = 0.05
    shift_jitter: float = 0.03
    pose_jitter: float = 0.10
    lean_jitter: float = 0.03
    narrowing: float = 0.12
    mirror_share: float = 0.15
    occlusion_share: float = 0.06
    occlusion_size: float = 0.22
    pixel_noise: float = 0.04
    gain_range: float = 0.2
    tint_range: float = 0.15
    blur: float = 0.5
    background_contrast: float = 0.25
